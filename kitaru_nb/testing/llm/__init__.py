"""The fake language model: a server on this machine that answers as OpenAI and Anthropic do."""
