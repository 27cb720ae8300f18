"""Matrices packed in whole numbers of a tool's own layout, read by rows as what they stand for.

Read: GPTQ (2, 3, 4 and 8 bits, any order of inputs), AWQ, bitsandbytes' NF4, FP4 and 8 bits, MLX (2 to 8 bits, MXFP4,
MXFP8, NVFP4), compressed-tensors' pack-quantized, int-quantized and 4-bit floats.
"""
