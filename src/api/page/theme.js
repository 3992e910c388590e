// The colours that the reader chose, before anything is drawn; a classic script, so that the page does not flash.
// Without a choice the system's own preference counts.
'use strict';
try {
  const theme = localStorage.getItem('wskeeper.theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {
  // A browser that keeps nothing for us: the system's preference it is.
}
