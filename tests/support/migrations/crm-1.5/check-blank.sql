SELECT NOT EXISTS (SELECT FROM customers WHERE region = '');
