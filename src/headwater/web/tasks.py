"""Tags the field agreed on: what a model does, and what loads it. Data, and nothing else."""

_TASKS = """
text-generation text2text-generation text-classification token-classification question-answering summarization
translation fill-mask feature-extraction sentence-similarity text-ranking zero-shot-classification
table-question-answering image-text-to-text any-to-any visual-question-answering document-question-answering
image-to-text image-classification object-detection image-segmentation depth-estimation text-to-image image-to-image
text-to-video image-to-video video-text-to-text video-classification unconditional-image-generation
zero-shot-image-classification image-feature-extraction mask-generation automatic-speech-recognition text-to-speech
text-to-audio audio-classification audio-to-audio audio-text-to-text voice-activity-detection text-to-3d image-to-3d
tabular-classification tabular-regression time-series-forecasting reinforcement-learning robotics
"""
_LIBRARIES = """
transformers diffusers safetensors gguf peft adapter-transformers sentence-transformers transformers.js timm mlx
llama.cpp onnx openvino tensorrt keras tf-keras tensorflow jax pytorch flair spacy fastai fasttext open_clip span-marker
setfit nemo espnet speechbrain pyannote-audio stable-baselines3 ml-agents sklearn coreml ctranslate2 mergekit
unsloth axolotl vllm exllamav2 rwkv litert tflite
"""
TASKS, LIBRARIES = frozenset(_TASKS.split()), frozenset(_LIBRARIES.split())
