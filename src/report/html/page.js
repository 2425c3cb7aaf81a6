// The page is whole without this: it only filters, jumps, unfolds and changes the light.
const tasks = [...document.querySelectorAll('details.task')];
const hosts = [...document.querySelectorAll('#timeline .lines .line > span')].map((span) => span.textContent.toLowerCase());
const filter = document.getElementById('filter');
const texts = new Map(); // what a task says, read once
const says = (task) => {
  if (!texts.has(task)) texts.set(task, task.textContent.toLowerCase());
  return texts.get(task);
};
let soon;
const sift = () => {
  const wanted = filter.value.trim().toLowerCase();
  const isHost = wanted !== '' && hosts.some((host) => host.includes(wanted));
  for (const task of tasks) task.hidden = wanted !== '' && !says(task).includes(wanted) && !(isHost && task.querySelector('.hosts.all'));
};
filter.addEventListener('input', () => { clearTimeout(soon); soon = setTimeout(sift, 120); });
const show = (task) => { task.open = true; task.querySelector('summary').focus({ preventScroll: true }); task.scrollIntoView({ block: 'start' }); };
// A link to a task unfolds it.
const arrive = () => { const task = location.hash.startsWith('#t') && document.getElementById(location.hash.slice(1)); if (task && task.matches('details.task')) { task.hidden = false; show(task); } };
addEventListener('hashchange', arrive);
document.addEventListener('click', (event) => { const link = event.target.closest('a[href^="#t"]'); if (link && link.hash === location.hash) { event.preventDefault(); arrive(); } });
arrive();
const light = () => { const root = document.documentElement; const dark = (root.style.colorScheme || (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light')) === 'dark'; root.style.colorScheme = dark ? 'light' : 'dark'; };
document.getElementById('theme').addEventListener('click', light);
document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target === filter) {
    if (event.key === 'Escape') { filter.value = ''; sift(); filter.blur(); } else if (event.key === 'Enter') { clearTimeout(soon); sift(); }
    return;
  }
  const told = tasks.filter((task) => task.dataset.told && !task.hidden);
  const here = tasks.find((task) => task.contains(document.activeElement));
  const at = told.indexOf(here);
  switch (event.key) {
    case '/': filter.focus(); filter.select(); break;
    case 'n': if (told[at + 1]) show(told[at + 1]); break;
    case 'p': if (told.length) show(told[at < 0 ? told.length - 1 : Math.max(at - 1, 0)]); break;
    case 'o': if (here) { const diffs = [...here.querySelectorAll('details.delta')]; const open = diffs.some((diff) => !diff.open); here.open = true; for (const diff of diffs) diff.open = open; } break;
    case 'e': { const seen = tasks.filter((task) => !task.hidden); const open = seen.some((task) => !task.open); for (const task of seen) task.open = open; break; }
    case 't': light(); break;
    default: return;
  }
  event.preventDefault();
});
