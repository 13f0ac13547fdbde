// Makes what the theme adds to a page usable by keyboard and screen reader: wide tables and buttons of code blocks.
function complete() {
  for (const table of document.querySelectorAll(".md-typeset__scrollwrap:not([tabindex])")) table.tabIndex = 0;
  for (const buttons of document.querySelectorAll(".md-code__nav:not([role])")) buttons.setAttribute("role", "none");
}
new MutationObserver(complete).observe(document, { childList: true, subtree: true });
complete();
