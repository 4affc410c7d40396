"""The audit of results: is each claim of the paper reproduced by them, and can each number be trusted?

It reads what lies in a folder of results, builds nothing, and changes nothing in it but its own page.
"""
