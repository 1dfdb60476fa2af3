SELECT NOT EXISTS (SELECT 1 FROM airports WHERE region = 'unknown');
