// Frameworks that are built in the run, with the output that their documentation has hosts run.
export default [];
