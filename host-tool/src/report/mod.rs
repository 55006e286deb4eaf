//! What was measured, as JSON records, and the report that joins them.

pub mod record;
