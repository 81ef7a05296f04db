// An API with Hono: routes, a body that is checked, errors as JSON. Its app has a `fetch`, so it is the default export.
import { Hono } from "hono";
import { HTTPException } from "hono/http-exception";
import { validator } from "hono/validator";

interface Book {
  id: number;
  title: string;
}

const books: Book[] = [{ id: 1, title: "The Left Hand of Darkness" }];

const title = validator("json", (value): { title: string } => {
  if (typeof value.title !== "string" || value.title === "") {
    throw new HTTPException(400, { message: "a book has a title" });
  }
  return { title: value.title };
});

const app = new Hono()
  .get("/", (c) => c.json(books))
  .get("/:id{[0-9]+}", (c) => {
    const book = books.find(({ id }) => id === Number(c.req.param("id")));
    return book ? c.json(book) : c.notFound();
  })
  .post("/", title, (c) => {
    const book = { id: books.length + 1, ...c.req.valid("json") };
    books.push(book);
    return c.json(book, 201);
  });

app.notFound((c) => c.json({ error: "there is no such book" }, 404));
app.onError((error, c) => {
  const status = error instanceof HTTPException ? error.status : 500;
  return c.json({ error: error.message }, status);
});

export default app;
