//! Whether a column's values repeat, so that a dictionary of them pays.
//!
//! A dictionary of values that hardly repeat is built, found too large, and given up: for ids and free text that was an eighth of the
//! time of a small file. So the first rows are counted before the first row group begins. Deliberately not here: what is made of the answer.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{ByteArrayType, GenericBinaryType, GenericStringType};
use arrow_schema::DataType;
use twox_hash::XxHash64;

/// Fewer rows say nothing.
const ENOUGH: usize = 4 * 1024;
/// Rows that are counted, at most.
const MOST: usize = 64 * 1024;
/// Bits of the sketch: at 64 Ki different values half of it is empty still.
const BITS: usize = 128 * 1024;

/// Whether at most four of five values are different, as far as the first rows tell; always for few rows and for types that are not counted
/// (nested ones, booleans).
pub fn repeats<'a>(arrays: impl Iterator<Item = &'a dyn Array>) -> bool {
    let mut sketch = Sketch { bits: vec![0; BITS / 64], rows: 0 };
    for array in arrays {
        if !sketch.add(array) {
            return true;
        }
        if sketch.rows >= MOST {
            break;
        }
    }
    sketch.rows < ENOUGH || sketch.different() * 5.0 <= sketch.rows as f64 * 4.0
}

/// Linear counting: how many different values there are, about, from how many bits stay empty.
struct Sketch {
    bits: Vec<u64>,
    rows: usize,
}

impl Sketch {
    /// Adds what is not null; `false`: the type is not counted.
    fn add(&mut self, array: &dyn Array) -> bool {
        match array.data_type() {
            DataType::Utf8 => self.texts::<GenericStringType<i32>>(array),
            DataType::LargeUtf8 => self.texts::<GenericStringType<i64>>(array),
            DataType::Binary => self.texts::<GenericBinaryType<i32>>(array),
            DataType::LargeBinary => self.texts::<GenericBinaryType<i64>>(array),
            t => match t.primitive_width() {
                Some(width) => self.fixed(array, width),
                None => return false,
            },
        }
        true
    }

    fn texts<T: ByteArrayType>(&mut self, array: &dyn Array) {
        for value in array.as_bytes::<T>().iter().flatten().take(MOST - self.rows) {
            self.value(value.as_ref());
        }
    }

    fn fixed(&mut self, array: &dyn Array, width: usize) {
        let data = array.to_data();
        let bytes = &data.buffers()[0].as_slice()[data.offset() * width..][..data.len() * width];
        for (i, value) in bytes.chunks_exact(width).enumerate() {
            if self.rows >= MOST {
                return;
            }
            if data.is_valid(i) {
                self.value(value);
            }
        }
    }

    fn value(&mut self, value: &[u8]) {
        let bit = XxHash64::oneshot(0, value) as usize % BITS;
        self.bits[bit / 64] |= 1 << (bit % 64);
        self.rows += 1;
    }

    fn different(&self) -> f64 {
        let empty = self.bits.iter().map(|word| word.count_zeros() as usize).sum::<usize>().max(1);
        -(BITS as f64) * (empty as f64 / BITS as f64).ln()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, BooleanArray, Decimal128Array, Int64Array, StringArray};

    use super::*;

    fn tell(array: ArrayRef) -> bool {
        repeats([array.as_ref()].into_iter())
    }

    #[test]
    fn ids_and_free_text_do_not_repeat_and_codes_do() {
        let n = 50_000_i64;
        assert!(!tell(Arc::new(Int64Array::from_iter_values(0..n))));
        assert!(!tell(Arc::new(StringArray::from_iter_values((0..n).map(|i| format!("customer {i}"))))));
        assert!(!tell(Arc::new(Decimal128Array::from_iter_values((0..n).map(i128::from)))));
        assert!(tell(Arc::new(Int64Array::from_iter_values((0..n).map(|i| i % 20_000)))));
        assert!(tell(Arc::new(StringArray::from_iter_values((0..n).map(|i| format!("code {}", i % 500))))));
    }

    #[test]
    fn few_rows_nulls_and_other_types_say_nothing() {
        assert!(tell(Arc::new(Int64Array::from_iter_values(0..100))));
        assert!(tell(Arc::new(Int64Array::from_iter((0..50_000).map(|i| (i < 100).then_some(i))))));
        assert!(tell(Arc::new(BooleanArray::from(vec![true; 50_000]))));
    }

    #[test]
    fn a_slice_is_counted_as_what_it_shows() {
        let all: ArrayRef = Arc::new(Int64Array::from_iter_values((0..20_000).chain(std::iter::repeat_n(7, 20_000))));
        assert!(!tell(all.slice(0, 20_000)));
        assert!(tell(all.slice(20_000, 20_000)));
    }
}
