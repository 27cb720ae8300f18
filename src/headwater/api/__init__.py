"""Faces for programs: parse, call one verb, render. hf speaks the Hugging Face Hub's API, openai OpenAI's, own ours."""
