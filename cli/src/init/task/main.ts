// The page of a project with a task. Start the task by hand with: switchyard task run NAME:greet --wait
export default {
  fetch(): Response {
    return new Response("This project has a task, tasks/greet.ts: it runs every hour.\n");
  },
};
