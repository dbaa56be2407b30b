"""The rules, by what they are about; one generator function each."""
