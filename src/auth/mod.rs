//! Who is this. Knows nothing of HTTP.
