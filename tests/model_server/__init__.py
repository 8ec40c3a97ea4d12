"""A scripted model server for the tests of agents: the model is the double, nothing else is.

`ModelServer` speaks OpenAI chat completions, OpenAI responses and Anthropic messages on 127.0.0.1.
What it says is a list of replies, or a function from the request to a reply; `edits` has functions
that make real agents write a file.
"""
