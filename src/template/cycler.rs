//! `cycler(…)`, and `lipsum()`, which fills a page with words.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use minijinja::value::{Object, ObjectRepr, Rest, Value, ValueOrKwargs};
use minijinja::{Error, ErrorKind, State};

use super::args::{Args, R, fail};
use super::filters::RandomSource;

/// Items in turns, without end.
#[derive(Debug)]
struct Cycler {
    items: Vec<Value>,
    at: AtomicUsize,
}

impl Cycler {
    fn current(&self) -> Value {
        self.items.get(self.at.load(Ordering::Relaxed) % self.items.len().max(1)).cloned().unwrap_or_default()
    }
}

impl Object for Cycler {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        Some(match key.as_str()? {
            "current" => self.current(),
            "items" => Value::from(self.items.clone()),
            "pos" => Value::from(self.at.load(Ordering::Relaxed)),
            _ => return None,
        })
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, args: &[Value]) -> R {
        match (method, args) {
            ("next", []) => {
                let current = self.current();
                self.at.store((self.at.load(Ordering::Relaxed) + 1) % self.items.len().max(1), Ordering::Relaxed);
                Ok(current)
            }
            ("reset", []) => {
                self.at.store(0, Ordering::Relaxed);
                Ok(Value::from(()))
            }
            _ => Err(Error::from(ErrorKind::UnknownMethod)),
        }
    }
}

/// `cycler(a, b, …)`
pub(super) fn cycler(items: Rest<Value>) -> R {
    if items.is_empty() {
        return Err(fail("cycler: at least one item has to be provided"));
    }
    Ok(Value::from_object(Cycler { items: items.0, at: AtomicUsize::new(0) }))
}

const WORDS: &str = "a ac accumsan ad adipiscing aenean aliquam aliquet amet ante aptent arcu at auctor augue bibendum \
    blandit commodo condimentum congue consectetuer consequat conubia cras cubilia cum curabitur cursus dapibus diam dictum \
    dignissim dis dolor donec dui duis egestas eget eleifend elementum elit enim erat eros est et etiam eu euismod facilisi \
    fames faucibus felis fermentum feugiat fringilla fusce gravida habitant hendrerit iaculis id imperdiet in integer \
    interdum ipsum justo lacinia lacus laoreet lectus leo libero ligula lobortis lorem luctus maecenas magna mattis mauris \
    metus mi mollis montes morbi nam nec neque nibh nisi nisl non nulla nunc odio orci ornare pede pellentesque pharetra \
    placerat porta posuere pretium primis proin pulvinar purus quam quis rhoncus risus rutrum sagittis sapien sed sem \
    semper sit sodales sollicitudin suscipit taciti tellus tempor tincidunt tortor tristique turpis ultrices urna ut varius \
    vel velit vestibulum vitae vivamus viverra volutpat vulputate";

/// `lipsum(n=5, html=True, min=20, max=100)`: paragraphs of so many words.
pub(super) fn lipsum(values: Rest<ValueOrKwargs>) -> R {
    let args = Args::new("lipsum", values)?;
    args.only(4, &["n", "html", "min", "max"])?;
    let number = |at, name, default: i64| args.int(at, name).map(|n| n.unwrap_or(default));
    let (count, least, most) = (number(0, "n", 5)?, number(2, "min", 20)?, number(3, "max", 100)?);
    let html = args.flag(1, "html", true);
    let room = most.checked_sub(least.clamp(0, 1000)).and_then(|room| u64::try_from(room).ok());
    let room = room.filter(|room| (1..=1000).contains(room));
    let room = room.ok_or_else(|| fail("lipsum: `max` is more than `min`, and both are at most 1000"))?;
    if !(0..=1000).contains(&count) {
        return Err(fail("lipsum: at most a thousand paragraphs"));
    }
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let mut source = RandomSource::new(None);
    let mut paragraphs = Vec::new();
    for _ in 0..count {
        let length = least.clamp(0, 1000).unsigned_abs() + source.below(room);
        let (mut text, mut begins, mut last) = (String::new(), true, "");
        for place in 0..length {
            let mut word = last;
            while word == last {
                let at = source.below(u64::try_from(words.len()).unwrap_or(1));
                word = words.get(usize::try_from(at).unwrap_or(0)).copied().unwrap_or("lorem");
            }
            last = word;
            if place > 0 {
                text.push(' ');
            }
            match begins.then(|| word.split_at(1)) {
                Some((first, rest)) => text.extend([first.to_ascii_uppercase().as_str(), rest]),
                None => text.push_str(word),
            }
            begins = place + 1 == length || source.below(12) == 0;
            if begins {
                text.push('.');
            } else if source.below(6) == 0 {
                text.push(',');
            }
        }
        paragraphs.push(if html { format!("<p>{text}</p>") } else { text });
    }
    Ok(Value::from(paragraphs.join(if html { "\n" } else { "\n\n" })))
}
