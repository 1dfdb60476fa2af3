UPDATE customers
   SET region = CASE WHEN country IN ('AT', 'CH', 'DE', 'FR') THEN 'europe' ELSE 'elsewhere' END
 WHERE id > %(after)s AND id <= %(upto)s
   AND region IS NULL;
