"""The hand-written SQL of moving, behind functions named in the business's words: what comes in, and what goes out."""
