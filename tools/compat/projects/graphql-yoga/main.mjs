import { createServer } from "node:http";
import { createSchema, createYoga } from "graphql-yoga";

const schema = createSchema({
  typeDefs: "type Query { hello(name: String!): String! }",
  resolvers: { Query: { hello: (_, { name }) => `hello ${name}` } },
});
createServer(createYoga({ schema, graphqlEndpoint: "/" })).listen(process.env.PORT ?? 4000);
