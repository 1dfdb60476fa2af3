UPDATE orders SET total_cents = net_cents * 119 / tax_base
 WHERE id > %(after)s AND id <= %(upto)s AND total_cents IS NULL;
