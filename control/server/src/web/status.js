// Renews the body every two seconds while the page is visible; says so when the control plane does not answer.
const body = document.getElementById("body");
const stale = document.getElementById("stale");
async function renew() {
  if (!document.hidden) {
    try {
      const answer = await fetch("/fragment");
      if (!answer.ok) throw new Error(answer.status);
      body.innerHTML = await answer.text();
      stale.textContent = "";
    } catch (e) {
      stale.textContent = "· the control plane does not answer; this is what it last said";
    }
  }
  setTimeout(renew, 2000);
}
setTimeout(renew, 2000);
