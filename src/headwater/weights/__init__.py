"""Read model files without loading them: headers of safetensors and GGUF, opcodes of pickles.

Every reader here takes hostile input: sizes, counts and offsets are checked before anything is allocated,
tensor data is never read, nothing is unpickled. What does not hold together is a CorruptFile that names the byte.
"""
