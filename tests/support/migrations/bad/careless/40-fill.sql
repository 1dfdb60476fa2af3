UPDATE customers SET region = 'europe' WHERE id > %(after)s;
