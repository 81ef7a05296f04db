import Koa from "koa";

const app = new Koa();
app.use(async (context, next) => {
  await next();
  context.set("x-after", "yes");
});
app.use((context) => {
  context.body = { ip: context.ip, path: context.path };
});
app.listen(process.env.PORT ?? 3000);
