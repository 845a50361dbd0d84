"""Pure numerics: tables in, tables out. No queue, bucket, clock, environment or unseeded chance."""
