"""Process images larger than memory block by block, and merge the blocks."""
