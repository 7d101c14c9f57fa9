// Which hours a credit note gives back: typed hours work out their amount, and the sum is told as one types.

const number = (text) => Number(String(text).replaceAll(",", "")) || 0;

document.querySelectorAll("[data-giving-back]").forEach((form) => {
  const field = (row, name) => row.querySelector(`input[name$="-${name}"]`);
  const told = form.querySelector("[data-sum]");
  const add = () => {
    const sum = [...form.querySelectorAll('input[name$="-amount"]')].reduce((all, one) => all + number(one.value), 0);
    told.value = sum.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 4 });
    told.classList.toggle("bad", Math.abs(sum - number(form.dataset.wanted)) > 0.00001);
  };
  form.addEventListener("input", (event) => {
    const row = event.target.closest("tr[data-hours]");
    if (row && event.target.name.endsWith("-hours")) {
      const share = number(event.target.value) / number(row.dataset.hours);
      field(row, "amount").value = event.target.value.trim() ? (number(row.dataset.amount) * share).toFixed(2) : "";
    }
    add();
  });
  add();
});
