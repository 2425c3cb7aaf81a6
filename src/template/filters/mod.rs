//! Filters: Jinja's, ansible-core's, and those of community.general and ansible.utils that roles use.
//!
//! Each is a function from its arguments to a value. One that is not marked as accepting undefined values passes an
//! undefined argument on, as Ansible's do: `nope | upper | default('x')` is `x`.

pub(super) mod csv;
mod data;
mod encode;
mod hash;
mod html;
mod items;
mod jinja;
mod json;
mod keys;
mod lists;
pub(super) mod math;
mod mersenne;
mod net;
pub(super) mod path;
mod places;
mod random;
pub(super) mod regex;
mod sets;
mod spec;
pub(super) mod text;
mod url;
mod weak;
mod wrap;
pub(super) mod yaml;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use minijinja::value::{Rest, Value, ValueOrKwargs};
use minijinja::{Environment, State};

use super::args::{Args, R};

/// How a filter is run.
#[derive(Clone, Copy)]
enum Run {
    /// Needs nothing but its arguments.
    Plain(fn(&Args) -> R),
    /// Calls other filters or tests, or reads variables.
    Stateful(fn(&mut State<'_, '_>, &Args) -> R),
    /// The engine's own.
    Native(fn() -> Value),
}

/// Undefined arguments: passed on, or the filter's business.
#[derive(Clone, Copy, PartialEq)]
enum Undefined {
    Pass,
    Accept,
}

struct Entry {
    name: &'static str,
    run: Run,
    undefined: Undefined,
}

const fn plain(name: &'static str, f: fn(&Args) -> R) -> Entry {
    Entry { name, run: Run::Plain(f), undefined: Undefined::Pass }
}

const fn accepting(name: &'static str, f: fn(&Args) -> R) -> Entry {
    Entry { name, run: Run::Plain(f), undefined: Undefined::Accept }
}

const fn stateful(name: &'static str, f: fn(&mut State<'_, '_>, &Args) -> R) -> Entry {
    Entry { name, run: Run::Stateful(f), undefined: Undefined::Pass }
}

const fn stateful_accepting(name: &'static str, f: fn(&mut State<'_, '_>, &Args) -> R) -> Entry {
    Entry { name, run: Run::Stateful(f), undefined: Undefined::Accept }
}

const fn native(name: &'static str, f: fn() -> Value) -> Entry {
    Entry { name, run: Run::Native(f), undefined: Undefined::Pass }
}

macro_rules! engine {
    ($path:path) => {
        || Value::from_function($path)
    };
}

/// Every filter under its short name; all have `ansible.builtin.` in front as well.
static CORE: &[Entry] = &[
    // What the rewrite uses.
    stateful_accepting("__get", items::get),
    stateful_accepting("__call", items::call_method),
    accepting("__method", items::method),
    accepting("__mod", math::modulo),
    accepting("__sub", math::subtract),
    accepting("__add", math::plus),
    plain("__concat", text::concat),
    // Undefined values and types.
    accepting("default", items::default),
    accepting("d", items::default),
    accepting("mandatory", items::mandatory),
    accepting("ternary", items::ternary),
    accepting("type_debug", items::type_debug),
    plain("bool", items::bool),
    plain("int", math::int),
    plain("float", math::float),
    plain("string", text::string),
    plain("list", items::list),
    // Jinja's, on sequences.
    stateful("map", items::map),
    stateful("select", items::select),
    stateful("reject", items::reject),
    stateful("selectattr", items::selectattr),
    stateful("rejectattr", items::rejectattr),
    plain("groupby", items::groupby),
    plain("first", items::first),
    plain("last", items::last),
    plain("length", items::length),
    plain("count", items::length),
    plain("reverse", items::reverse),
    plain("sort", items::sort),
    plain("unique", sets::unique),
    plain("min", items::min),
    plain("max", items::max),
    plain("sum", items::sum),
    plain("join", text::join),
    plain("batch", jinja::batch),
    plain("slice", jinja::slice),
    plain("dictsort", jinja::dictsort),
    plain("items", items::items_pairs),
    plain("attr", jinja::attr),
    // Jinja's, on text.
    plain("upper", text::upper),
    plain("lower", text::lower),
    plain("capitalize", text::capitalize),
    plain("title", text::title_filter),
    plain("trim", text::trim),
    plain("replace", text::replace),
    plain("indent", text::indent),
    plain("center", text::center),
    plain("format", text::format),
    plain("wordcount", text::wordcount),
    plain("truncate", text::truncate),
    plain("wordwrap", wrap::wordwrap),
    plain("striptags", html::striptags),
    plain("escape", html::escape),
    plain("e", html::escape),
    plain("forceescape", html::forceescape),
    plain("urlize", html::urlize),
    native("safe", engine!(minijinja::filters::safe)),
    plain("pprint", text::pprint),
    plain("urlencode", url::urlencode),
    plain("filesizeformat", math::filesizeformat),
    plain("xmlattr", html::xmlattr),
    plain("tojson", json::tojson),
    // Numbers.
    plain("abs", math::abs),
    plain("round", math::round),
    plain("log", math::log),
    plain("pow", math::pow),
    plain("root", math::root),
    plain("human_readable", math::human_readable),
    plain("human_to_bytes", math::human_to_bytes),
    // Ansible's, on data.
    plain("combine", data::combine),
    plain("dict2items", data::dict2items),
    plain("items2dict", data::items2dict),
    stateful_accepting("extract", data::extract),
    plain("flatten", data::flatten),
    plain("subelements", data::subelements),
    plain("rekey_on_member", data::rekey_on_member),
    plain("zip", data::zip),
    plain("zip_longest", data::zip_longest),
    plain("product", data::product),
    plain("permutations", data::permutations),
    plain("combinations", data::combinations),
    plain("difference", sets::difference),
    plain("intersect", sets::intersect),
    plain("union", sets::union),
    plain("symmetric_difference", sets::symmetric_difference),
    plain("random", random::random),
    plain("shuffle", random::shuffle),
    // Ansible's, on text.
    plain("comment", text::comment),
    plain("quote", text::quote),
    plain("split", text::split),
    plain("regex_replace", regex::regex_replace),
    plain("regex_search", regex::regex_search),
    plain("regex_findall", regex::regex_findall),
    plain("regex_escape", regex::regex_escape),
    plain("strftime", super::time::strftime),
    plain("to_datetime", super::time::to_datetime),
    // Formats.
    plain("to_json", json::to_json),
    plain("to_nice_json", json::to_nice_json),
    plain("from_json", json::from_json),
    plain("to_yaml", yaml::to_yaml),
    plain("to_nice_yaml", yaml::to_nice_yaml),
    plain("from_yaml", yaml::from_yaml),
    plain("from_yaml_all", yaml::from_yaml_all),
    // Encodings and hashes.
    plain("b64encode", encode::b64encode),
    plain("b64decode", encode::b64decode),
    plain("urldecode", url::urldecode),
    plain("urlsplit", url::urlsplit),
    plain("hash", hash::hash),
    plain("sha1", hash::sha1),
    plain("checksum", hash::sha1),
    plain("md5", hash::md5),
    plain("password_hash", hash::password_hash),
    plain("to_uuid", hash::to_uuid),
    stateful("vault", encode::vault),
    stateful("unvault", encode::unvault),
    // Paths, on the controller.
    plain("basename", path::basename),
    plain("dirname", path::dirname),
    plain("realpath", path::realpath),
    plain("relpath", path::relpath),
    plain("normpath", path::normpath),
    plain("expanduser", path::expanduser),
    plain("expandvars", path::expandvars),
    plain("splitext", path::splitext),
    plain("path_join", path::path_join),
    plain("commonpath", path::commonpath),
    plain("fileglob", path::fileglob),
    plain("win_basename", path::win_basename),
    plain("win_dirname", path::win_dirname),
    plain("win_splitdrive", path::win_splitdrive),
    // Tests that were filters once, and still are in old roles.
    stateful("version_compare", items::as_test),
    stateful("version", items::as_test),
    stateful("success", items::as_test),
    stateful("succeeded", items::as_test),
    stateful("failed", items::as_test),
    stateful("changed", items::as_test),
    stateful("skipped", items::as_test),
    stateful("search", items::as_test),
    stateful("match", items::as_test),
];

/// Filters of other collections, under the collection's name and, where but one collection has it, the short one.
static OTHERS: &[(&str, Entry)] = &[
    ("community.general", plain("json_query", json::json_query)),
    ("community.general", plain("lists_mergeby", lists::lists_mergeby)),
    ("community.general", plain("dict", data::dict)),
    ("community.general", plain("dict_kv", data::dict_kv)),
    ("community.general", plain("groupby_as_dict", data::groupby_as_dict)),
    ("community.general", plain("lists_union", lists::lists_union)),
    ("community.general", plain("lists_intersect", lists::lists_intersect)),
    ("community.general", plain("lists_difference", lists::lists_difference)),
    ("community.general", plain("lists_symmetric_difference", lists::lists_symmetric_difference)),
    ("community.general", plain("accumulate", lists::accumulate)),
    ("community.general", plain("keep_keys", keys::keep_listed)),
    ("community.general", plain("remove_keys", keys::remove_listed)),
    ("community.general", plain("replace_keys", keys::replace_listed)),
    ("community.general", plain("crc32", hash::crc32)),
    ("community.general", plain("unicode_normalize", encode::unicode_normalize)),
    ("community.general", plain("from_csv", csv::from_csv)),
    ("community.general", plain("version_sort", items::version_sort)),
    ("community.general", plain("from_ini", json::from_ini)),
    ("community.general", plain("to_ini", json::to_ini)),
    ("community.general", plain("random_mac", random::random_mac)),
    ("community.general", plain("counter", data::counter)),
    ("community.general", plain("to_seconds", math::to_seconds)),
    ("community.general", plain("to_minutes", math::to_minutes)),
    ("community.general", plain("to_hours", math::to_hours)),
    ("community.general", plain("to_milliseconds", math::to_milliseconds)),
    ("community.general", plain("to_days", math::to_days)),
    ("community.general", plain("to_weeks", math::to_weeks)),
    ("community.general", plain("to_months", math::to_months)),
    ("community.general", plain("to_years", math::to_years)),
    ("community.general", plain("to_time_unit", math::to_time_unit)),
    ("ansible.utils", plain("ipaddr", net::ipaddr)),
    ("ansible.utils", plain("ipv4", net::ipv4)),
    ("ansible.utils", plain("ipv6", net::ipv6)),
    ("ansible.utils", plain("ipwrap", net::ipwrap)),
    ("ansible.utils", plain("ipsubnet", net::ipsubnet)),
    ("ansible.utils", plain("nthhost", net::nthhost)),
    ("ansible.utils", plain("next_nth_usable", net::next_nth_usable)),
    ("ansible.utils", plain("previous_nth_usable", net::previous_nth_usable)),
    ("ansible.utils", plain("network_in_network", net::network_in_network)),
    ("ansible.utils", plain("network_in_usable", net::network_in_usable)),
    ("ansible.utils", plain("reduce_on_network", net::reduce_on_network)),
    ("ansible.utils", plain("cidr_merge", net::cidr_merge)),
    ("ansible.utils", plain("ipmath", net::ipmath)),
    ("ansible.utils", plain("ip4_hex", net::ip4_hex)),
    ("ansible.utils", plain("ipcut", net::ipcut)),
    ("ansible.utils", plain("ipv6form", net::ipv6form)),
    ("ansible.utils", plain("usable_range", net::usable_range)),
    ("ansible.utils", plain("slaac", net::slaac)),
    ("ansible.utils", plain("hwaddr", net::hwaddr)),
    ("ansible.utils", plain("macaddr", net::macaddr)),
    ("ansible.utils", plain("keep_keys", keys::keep_nested)),
    ("ansible.utils", plain("remove_keys", keys::remove_nested)),
    ("ansible.utils", plain("replace_keys", keys::replace_nested)),
    ("ansible.utils", plain("to_paths", places::to_paths)),
    ("ansible.utils", plain("get_path", places::get_path)),
    ("ansible.utils", stateful("index_of", places::index_of)),
    ("ansible.utils", plain("ipaddr_sort", net::ip_sort)),
];

/// A filter's name to what runs it, once for all environments.
static TABLE: LazyLock<BTreeMap<String, &'static Entry>> = LazyLock::new(|| {
    let mut table = BTreeMap::new();
    for entry in CORE {
        table.insert(entry.name.to_owned(), entry);
        for prefix in ["ansible.builtin", "ansible.legacy"] {
            table.insert(format!("{prefix}.{}", entry.name), entry);
        }
    }
    for (collection, entry) in OTHERS {
        if OTHERS.iter().filter(|(_, other)| other.name == entry.name).count() == 1 {
            table.insert(entry.name.to_owned(), entry);
        }
        table.insert(format!("{collection}.{}", entry.name), entry);
        if *collection == "ansible.utils" {
            table.insert(format!("ansible.netcommon.{}", entry.name), entry);
        }
    }
    table
});

/// Whether there is a filter of this name. The engine allows spaces around the dots of a name.
pub(super) fn is_known(name: &str) -> bool {
    if name.contains(char::is_whitespace) {
        let plain: String = name.chars().filter(|c| !c.is_whitespace()).collect();
        return TABLE.contains_key(&plain);
    }
    TABLE.contains_key(name)
}

/// The whole names of the filters that several collections have under a short one, which then names none.
pub(super) fn qualified(name: &str) -> Vec<String> {
    OTHERS
        .iter()
        .filter(|(_, entry)| entry.name == name)
        .map(|(collection, _)| format!("{collection}.{name}"))
        .collect()
}

/// The short names of all filters; one that two collections have, once.
pub fn names() -> Vec<&'static str> {
    let all = CORE.iter().chain(OTHERS.iter().map(|(_, e)| e)).map(|e| e.name).filter(|n| !n.starts_with("__"));
    all.collect::<indexmap::IndexSet<_>>().into_iter().collect()
}

/// Adds the filters to an environment.
pub(super) fn register(env: &mut Environment<'static>) {
    for (name, entry) in TABLE.iter() {
        let (who, undefined) = (entry.name, entry.undefined);
        match entry.run {
            Run::Plain(f) => env.add_filter(name.clone(), move |values: Rest<ValueOrKwargs>| {
                let args = Args::new(who, values)?;
                if undefined == Undefined::Pass && args.has_undefined() {
                    return Ok(Value::UNDEFINED);
                }
                f(&args)
            }),
            Run::Stateful(f) => {
                env.add_filter(name.clone(), move |state: &mut State<'_, '_>, values: Rest<ValueOrKwargs>| {
                    let args = Args::new(who, values)?;
                    if undefined == Undefined::Pass && args.has_undefined() {
                        return Ok(Value::UNDEFINED);
                    }
                    f(state, &args)
                });
            }
            Run::Native(make) => {
                let function = make();
                env.add_filter(name.clone(), move |state: &mut State<'_, '_>, values: Rest<ValueOrKwargs>| {
                    let values = values.into_values();
                    if values.iter().any(Value::is_undefined) {
                        return Ok(Value::UNDEFINED);
                    }
                    function.call(state, &values)
                });
            }
        }
    }
}

/// Compares two values as Python's operators do.
pub(super) fn compare(a: &Value, b: &Value) -> Result<std::cmp::Ordering, minijinja::Error> {
    items::compare(a, b)
}

/// Whether two paths are the same file.
pub(super) fn path_same_file(a: &str, b: &str) -> Result<bool, minijinja::Error> {
    path::same_file(a, b)
}

pub(super) use data::{cartesian, flatten_all, subelement_pairs};
pub(super) use hash::{crypt, salt_for};
pub(super) use items::group_text;
pub(super) use json::word as json_word;
pub(super) use net::kind as address_kind;
pub(super) use path::files_matching;
pub(super) use random::Source as RandomSource;

/// Python's `%` on a string.
pub(super) fn percent(text: &str, right: &Value) -> R {
    text::percent(text, right)
}
