//! `range(…)`: what Python makes, without a limit of ten thousand. It is used as the list of its numbers, and printed as
//! Python prints it.

use std::sync::Arc;

use minijinja::value::{Enumerator, Object, ObjectRepr, Rest, Value, ValueOrKwargs};

use super::args::{Args, R, fail};

/// Numbers from a first on, in equal steps.
#[derive(Debug)]
pub(super) struct Range {
    start: i64,
    stop: i64,
    step: i64,
    count: usize,
}

impl Object for Range {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let at = key.as_i64()?;
        let count = i64::try_from(self.count).ok()?;
        let at = if at < 0 { at + count } else { at };
        // An item fits where its distance from the first may not.
        let item = i128::from(self.start) + i128::from(at) * i128::from(self.step);
        i64::try_from(item).ok().filter(|_| (0..count).contains(&at)).map(Value::from)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.count)
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.count)
    }
}

/// The text of a range.
pub(super) fn text(value: &Value) -> Option<String> {
    let Range { start, stop, step, .. } = value.downcast_object_ref::<Range>()?;
    Some(match step {
        1 => format!("range({start}, {stop})"),
        step => format!("range({start}, {stop}, {step})"),
    })
}

/// `range(stop)`, `range(start, stop, step)`
pub(super) fn range(values: Rest<ValueOrKwargs>) -> R {
    let args = Args::new("range", values)?;
    args.only(3, &[])?;
    let first = args.int(0, "stop")?.ok_or_else(|| fail("range needs an integer"))?;
    let (start, stop) = match args.int(1, "stop")? {
        Some(stop) => (first, stop),
        None => (0, first),
    };
    let step = args.int(2, "step")?.unwrap_or(1);
    if step == 0 {
        return Err(fail("range: the step must not be zero"));
    }
    // In 128 bits nothing of this overflows.
    let (from, to, by) = (i128::from(start), i128::from(stop), i128::from(step));
    let count = if by > 0 { (to - from + by - 1) / by } else { (from - to - by - 1) / -by }.max(0);
    match usize::try_from(count) {
        Ok(count) if count <= 10_000_000 => Ok(Value::from_object(Range { start, stop, step, count })),
        _ => Err(fail("range: more than ten million items")),
    }
}
