import http from "node:http";
import { createSSRApp, ref } from "vue";
import { pipeToNodeWritable } from "vue/server-renderer";

http.createServer((_request, response) => {
  const app = createSSRApp({
    setup: () => ({ items: ref(["one", "two"]) }),
    template: `<ul><li v-for="item in items">{{ item }}</li></ul>`,
  });
  response.setHeader("content-type", "text/html");
  pipeToNodeWritable(app, {}, response);
}).listen(process.env.PORT ?? 3000);
