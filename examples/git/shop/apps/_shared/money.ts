// Lies beside the projects on the volume, as it does in the repository.
export const euros = (amount: number): string => `${amount.toFixed(2)} EUR`;
