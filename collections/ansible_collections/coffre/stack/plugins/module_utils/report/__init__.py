"""The report on an environment that a person looks at: one page, made from what modules return. No value reaches it."""
