// The sign-in page of a trial: choosing a person fills the form in and signs in.
for (const button of document.querySelectorAll("[data-fill]")) {
  button.addEventListener("click", () => {
    const form = document.querySelector("form[method=post]");
    form.elements.login.value = button.dataset.fill;
    form.elements.password.value = button.dataset.password;
    form.requestSubmit();
  });
}
