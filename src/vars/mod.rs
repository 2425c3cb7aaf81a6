//! Variables at rest: the vault. How layers of variables are stacked is `engine::variables`.

pub mod vault;
