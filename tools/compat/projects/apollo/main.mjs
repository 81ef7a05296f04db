import { ApolloServer } from "@apollo/server";
import { startStandaloneServer } from "@apollo/server/standalone";

const typeDefs = "type Query { hello(name: String!): String! }";
const resolvers = { Query: { hello: (_, { name }) => `hello ${name}` } };
const { url } = await startStandaloneServer(new ApolloServer({ typeDefs, resolvers }), { listen: { port: process.env.PORT ?? 4000 } });
console.log(`told: ${url}`);
