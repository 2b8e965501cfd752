mod pattern;
pub static SOURCE: () = ();
