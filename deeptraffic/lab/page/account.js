// Address of the account for which the page submits: none. A competition's site has its own file in place of this one.
export const ACCOUNT = null;
