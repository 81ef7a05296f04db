// The smallest project of a repository: change the text, commit, push.
export default {
  fetch: (): Response => new Response("Hello from a commit\n"),
};
