//! | file | what |
//! |---|---|
//! | [`model`] | any bytes, any dialect, any cut: the rows and rejects of a naive model |
//! | [`files`] | whole files, point by point |

mod files;
mod model;
