//! How often may they: one limiter a rule, each keyed, capped and swept. Knows nothing of HTTP.
