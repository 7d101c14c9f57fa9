// Hours that a credit note gives back: typed hours work out their amount, and the sum is told.

// As the server reads it: 0,5 is a half, 1,250.00 has a comma between thousands.
const number = (text) => {
  const typed = String(text).trim();
  return Number(/^\d+,(\d{1,2}|\d{4,})$/.test(typed) ? typed.replace(",", ".") : typed.replaceAll(",", "")) || 0;
};

document.querySelectorAll("[data-giving-back]").forEach((form) => {
  const told = form.querySelector("[data-sum]");
  const add = () => {
    const sum = [...form.querySelectorAll('input[name$="-amount"]')].reduce((all, one) => all + number(one.value), 0);
    told.value = sum.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 4 });
    told.classList.toggle("bad", Math.abs(sum - number(form.dataset.wanted)) > 0.00001);
  };
  form.addEventListener("input", (event) => {
    const { name, value } = event.target;
    const row = event.target.closest("tr[data-hours]");
    if (row && name.endsWith("-hours")) {
      const amount = number(row.dataset.amount) * number(value) / number(row.dataset.hours);
      row.querySelector('input[name$="-amount"]').value = value.trim() ? amount.toFixed(2) : "";
    }
    add();
  });
  add();
});
