// The page is whole without this: it only filters, jumps and unfolds.
const tasks = [...document.querySelectorAll('details.task')];
const filter = document.getElementById('filter');
filter.addEventListener('input', () => {
  const wanted = filter.value.toLowerCase();
  for (const task of tasks) task.hidden = wanted !== '' && !task.textContent.toLowerCase().includes(wanted);
});
document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target === filter) {
    if (event.key === 'Escape') { filter.value = ''; filter.dispatchEvent(new Event('input')); filter.blur(); }
    return;
  }
  const told = tasks.filter((task) => task.dataset.told && !task.hidden);
  const at = told.findIndex((task) => task.contains(document.activeElement));
  const go = (task) => { if (task) { task.open = true; task.querySelector('summary').focus(); task.scrollIntoView({ block: 'center' }); } };
  switch (event.key) {
    case '/': filter.focus(); break;
    case 'n': go(told[at + 1]); break;
    case 'p': go(told[at < 0 ? told.length - 1 : at - 1]); break;
    case 'e': { const open = tasks.some((task) => !task.open); for (const task of tasks) task.open = open; break; }
    default: return;
  }
  event.preventDefault();
});
