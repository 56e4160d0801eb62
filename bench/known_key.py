"""This server, with zeros for the key of its workers: the bench knows which of them has a room."""

import process

if __name__ == "__main__":
    process.begin()

import os

import main

if __name__ == "__main__":
    os.urandom = bytes
    main.main()
