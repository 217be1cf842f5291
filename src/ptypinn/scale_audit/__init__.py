"""Where amplitude went: ledgers of trainings and reconstructions, and what they say."""
