-- The four regions of the United States Census; whoever wrote this thought of the fifty states and the capital alone.
UPDATE airports SET region = CASE
    WHEN state IN ('CT', 'ME', 'MA', 'NH', 'RI', 'VT', 'NJ', 'NY', 'PA') THEN 'northeast'
    WHEN state IN ('IL', 'IN', 'MI', 'OH', 'WI', 'IA', 'KS', 'MN', 'MO', 'NE', 'ND', 'SD') THEN 'midwest'
    WHEN state IN ('DE', 'FL', 'GA', 'MD', 'NC', 'SC', 'VA', 'DC', 'WV', 'AL', 'KY', 'MS', 'TN', 'AR', 'LA', 'OK',
                   'TX') THEN 'south'
    WHEN state IN ('AZ', 'CO', 'ID', 'MT', 'NV', 'NM', 'UT', 'WY', 'AK', 'CA', 'HI', 'OR', 'WA') THEN 'west'
    ELSE 'unknown'
END
 WHERE id > %(after)s AND id <= %(upto)s;
