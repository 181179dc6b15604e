"""What shares a thread: asyncio's loops, tasks and futures, and greenlets."""
