// On the organiser's forms: beside a time in UTC, the same moment in the reader's time zone.

const local = new Intl.DateTimeFormat(undefined, { weekday: "short", year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", timeZoneName: "short" });
for (const field of document.querySelectorAll("input[data-utc]")) {
  const hint = document.getElementById(field.getAttribute("aria-describedby"));
  const empty = hint.textContent;
  const show = () => {
    const moment = new Date(`${field.value}Z`);
    hint.textContent = Number.isNaN(moment.valueOf()) ? empty : `in your time zone: ${local.format(moment)}`;
  };
  field.addEventListener("input", show);
  show();
}
