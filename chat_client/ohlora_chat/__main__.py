"""`python -m ohlora_chat`."""

from ohlora_chat.cli import main

main()
