"""What every admin page here shares: two kinds of pages, quick lists, readable values, fields that say what is right.

May touch nothing but the request in hand; knows no model. A page either shows records, which only the plane writes, or
edits configuration, which people write through an app's operations.
"""
