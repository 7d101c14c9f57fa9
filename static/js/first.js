// Runs before the first paint: says that scripts run, so that what needs them may show.
document.documentElement.dataset.js = "";
